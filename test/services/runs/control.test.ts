import { createTestDatabase } from '../../support/database.ts'
import { controlSuite } from './control.suite.ts'

controlSuite(createTestDatabase)
