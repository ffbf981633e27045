import { createTestDatabase } from '../../support/database.ts'
import { claimFairnessSuite } from './claim-fairness.suite.ts'

claimFairnessSuite(createTestDatabase)
