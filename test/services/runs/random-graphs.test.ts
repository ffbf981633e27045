import { createTestDatabase } from '../../support/database.ts'
import { randomGraphsSuite } from './random-graphs.suite.ts'

randomGraphsSuite(createTestDatabase)
