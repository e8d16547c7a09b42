/** What the writers decide on, and some that decide nothing. */
import { Application, defineEvent, type Facts, facts, type Recording, typed } from '../../../src/index.js'
import { mostCourses, seats } from './plan.js'

const CourseDefined = defineEvent('CourseDefined', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const CapacityChanged = defineEvent('CapacityChanged', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const StudentSubscribed = defineEvent(
  'StudentSubscribed',
  typed<{ course: string; student: string; isForced: boolean }>(),
  { tags: ({ course, student }) => ({ course, student }) },
)

const capacity = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [
    when(CourseDefined, (_capacity, data) => data.capacity),
    when(CapacityChanged, (_capacity, data) => data.capacity),
  ])
const taken = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
const courses = (student: string): Facts<number> =>
  facts({ student }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
const joined = (course: string, student: string): Facts<boolean> =>
  facts({ course, student }, false, (when) => [when(StudentSubscribed, () => true)])

/** The decision says no. */
export class Refused extends Error {}

export class TorturedSchool extends Application {
  define(course: string): Promise<Recording[]> {
    return this.decide({ capacity: capacity(course) }, (known) =>
      known.capacity > 0 ? [] : [CourseDefined({ course, capacity: seats })],
    )
  }

  subscribeStudent(course: string, student: string, lock: boolean): Promise<Recording[]> {
    const items = {
      capacity: capacity(course),
      taken: taken(course),
      courses: courses(student),
      joined: joined(course, student),
    }
    return this.decide(
      items,
      (known) => {
        if (known.joined || known.taken >= known.capacity || known.courses >= mostCourses) throw new Refused()
        return [StudentSubscribed({ course, student, isForced: false })]
      },
      { lock },
    )
  }

  /** Asks nobody. */
  force(course: string, student: string): Promise<Recording[]> {
    return this.decide({}, () => [StudentSubscribed({ course, student, isForced: true })])
  }

  /** Asks nobody. */
  changeCapacity(course: string, to: number): Promise<Recording[]> {
    return this.decide({}, () => [CapacityChanged({ course, capacity: to })])
  }
}
