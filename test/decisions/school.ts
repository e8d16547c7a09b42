/** Courses that have seats, and students who take them: rules over two kinds of things, which no aggregate has alone. */
import { Application, defineEvent, type Facts, facts, type Recording, typed } from '../../src/index.js'

export const CourseDefined = defineEvent('CourseDefined', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const CapacityChanged = defineEvent('CapacityChanged', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
export const StudentSubscribed = defineEvent('StudentSubscribed', typed<{ course: string; student: string }>(), {
  tags: ({ course, student }) => ({ course, student }),
})

export class CourseFull extends Error {}
class TooManyCourses extends Error {}

const capacity = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [
    when(CourseDefined, (_capacity, data) => data.capacity),
    when(CapacityChanged, (_capacity, data) => data.capacity),
  ])
export const taken = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
const courses = (student: string): Facts<number> =>
  facts({ student }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
export const joined = (course: string, student: string): Facts<boolean> =>
  facts({ course, student }, false, (when) => [when(StudentSubscribed, () => true)])

/** How many courses a student may take. */
const mostCourses = 10

export class CourseSchool<Client = unknown> extends Application<Client> {
  define(course: string, seats: number): Promise<Recording[]> {
    return this.decide({ capacity: capacity(course) }, ({ capacity: known }) =>
      known > 0 ? [] : [CourseDefined({ course, capacity: seats })],
    )
  }

  subscribeStudent(course: string, student: string, options: { readonly lock?: boolean } = {}): Promise<Recording[]> {
    const items = {
      capacity: capacity(course),
      taken: taken(course),
      courses: courses(student),
      joined: joined(course, student),
    }
    return this.decide(
      items,
      (known) => {
        if (known.joined) return []
        if (known.taken >= known.capacity) throw new CourseFull()
        if (known.courses >= mostCourses) throw new TooManyCourses()
        return [StudentSubscribed({ course, student })]
      },
      options,
    )
  }
}
