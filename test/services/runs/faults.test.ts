import { createTestDatabase } from '../../support/database.ts'
import { faultsSuite } from './faults.suite.ts'

faultsSuite(createTestDatabase)
