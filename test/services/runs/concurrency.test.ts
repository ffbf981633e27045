import { createTestDatabase } from '../../support/database.ts'
import { concurrencySuite } from './concurrency.suite.ts'

concurrencySuite(createTestDatabase)
