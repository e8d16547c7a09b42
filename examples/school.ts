/** The application: commands and queries on dogs. */
import { Application } from 'eventsourcing-prisma'
import { Dog } from './dogs.js'

export class TrainingSchool extends Application {
  async register(name: string): Promise<void> {
    await this.save(new Dog(name))
  }

  async addTrick(name: string, trick: string): Promise<void> {
    const dog = await this.repository.get(Dog, Dog.createId(name))
    dog.addTrick(trick)
    await this.save(dog)
  }

  async getTricks(name: string): Promise<readonly string[]> {
    return (await this.repository.get(Dog, Dog.createId(name))).tricks
  }
}
