/** A course has so many seats, and a student ten courses: a rule over two things, decided in one step. */
import { Application, defineEvent, facts, typed } from 'eventsourcing-prisma'

const CourseDefined = defineEvent('CourseDefined', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const CapacityChanged = defineEvent('CapacityChanged', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const StudentSubscribed = defineEvent('StudentSubscribed', typed<{ course: string; student: string }>(), {
  tags: ({ course, student }) => ({ course, student }),
})

const capacity = (course: string) =>
  facts({ course }, 0, (when) => [
    when(CourseDefined, (_seats, data) => data.capacity),
    when(CapacityChanged, (_seats, data) => data.capacity),
  ])
const taken = (course: string) => facts({ course }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
const courses = (student: string) => facts({ student }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
const joined = (course: string, student: string) =>
  facts({ course, student }, false, (when) => [when(StudentSubscribed, () => true)])

export class School extends Application {
  async define(course: string, seats: number): Promise<void> {
    await this.decide({ seats: capacity(course) }, (known) => {
      if (known.seats > 0) throw new Error(`There is a course ${course} already`)
      return [CourseDefined({ course, capacity: seats })]
    })
  }

  async changeCapacity(course: string, seats: number): Promise<void> {
    await this.decide({ seats: capacity(course) }, (known) =>
      known.seats === seats ? [] : [CapacityChanged({ course, capacity: seats })],
    )
  }

  async subscribeStudent(course: string, student: string): Promise<void> {
    const items = {
      seats: capacity(course),
      taken: taken(course),
      courses: courses(student),
      joined: joined(course, student),
    }
    await this.decide(items, (known) => {
      if (known.joined) return []
      if (known.taken >= known.seats) throw new Error(`The course ${course} is full`)
      if (known.courses >= 10) throw new Error(`${student} has ten courses`)
      return [StudentSubscribed({ course, student })]
    })
  }
}
