import { createTestDatabase } from '../../support/database.ts'
import { outsideSuite } from './outside.suite.ts'

outsideSuite(createTestDatabase)
