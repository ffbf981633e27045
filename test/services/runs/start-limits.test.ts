import { createTestDatabase } from '../../support/database.ts'
import { startLimitsSuite } from './start-limits.suite.ts'

startLimitsSuite(createTestDatabase)
