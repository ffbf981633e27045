import { createTestDatabase } from '../../support/database.ts'
import { graphSuite } from './graph.suite.ts'

graphSuite(createTestDatabase)
