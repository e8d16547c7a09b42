/** The guide for NestJS does what it says with NestJS 11, on Nest's default; answers are held on both. */
import { describeNestGuide } from '../../guides/nest-guide.js'

describeNestGuide('Nest 11', { workspace: 'test/third-party/nest11', platforms: ['express'] })
