/** What the tests use of `test-servers.mjs`. */

/** @returns the programs of MariaDB that make and run a server, undefined where they are not installed */
export declare function findMariadb(): { readonly server: string; readonly installer: string } | undefined
/** The program of NATS, undefined where it is not installed. */
export function findNats(): string | undefined
/** The program of RabbitMQ, undefined where it is not installed. */
export function findRabbit(): string | undefined
