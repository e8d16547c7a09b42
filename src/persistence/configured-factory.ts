/** Loads the factory that an application's environment names. */
import { EnvironmentError } from '../errors.js'
import type { Environment } from './environment.js'
import type { InfrastructureFactory, InfrastructureFactoryClass } from './factory.js'
import { resolveVariable } from './module-topic.js'

/** The variables that may name the persistence module: the first that is set counts, the others are former names. */
const moduleVariables: readonly string[] = ['PERSISTENCE_MODULE', 'INFRASTRUCTURE_FACTORY', 'FACTORY_TOPIC']

/** The variable that names the persistence module, undefined when the environment has none. */
export function persistenceVariable(environment: Environment): string | undefined {
  return moduleVariables.find((key) => (environment.get(key) ?? '') !== '')
}

/**
 * Loads a persistence module and makes its factory.
 *
 * The topic names a class of factories, a function that takes the environment and gives a factory or a promise of one, or
 * a module that exports just one class of factories.
 *
 * @param key - what `persistenceVariable` gives
 * @throws `EnvironmentError` naming variable and topic when it is none of these
 */
export async function configuredFactory(environment: Environment, key: string): Promise<InfrastructureFactory> {
  const named = await resolveVariable(environment, key)
  const problem = (reason: string): EnvironmentError =>
    new EnvironmentError(
      `The variable ${environment.names(key).join(', ')} is '${environment.get(key)}', and ${reason}`,
    )
  if (isFactoryClass(named)) return new named(environment)
  if (typeof named === 'function') {
    const made: unknown = await Reflect.apply(named, undefined, [environment])
    if (isFactory(made)) return made
    throw problem('that function does not give an infrastructure factory')
  }
  if (typeof named !== 'object' || named === null) throw problem(`that is not a factory: it is a ${typeof named}`)
  const classes = [...new Set(Object.values(named).filter(isFactoryClass))]
  const [factoryClass] = classes
  if (factoryClass !== undefined && classes.length === 1) return new factoryClass(environment)
  throw problem(`in it were found ${classes.length} classes of infrastructure factories, expected 1`)
}

// By shape, so that a factory from another copy of this package fits.
function isFactory(value: unknown): value is InfrastructureFactory {
  if (typeof value !== 'object' || value === null) return false
  return 'applicationRecorder' in value && 'aggregateRecorder' in value && 'close' in value
}

function isFactoryClass(value: unknown): value is InfrastructureFactoryClass {
  return typeof value === 'function' && isFactory(value.prototype)
}
