/** The guide for NestJS does what it says with NestJS 11. */
import { describeNestGuide } from '../../guides/nest-guide.js'

describeNestGuide('Nest 11', { workspace: 'test/third-party/nest11' })
