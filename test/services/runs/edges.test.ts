import { createTestDatabase } from '../../support/database.ts'
import { edgesSuite } from './edges.suite.ts'

edgesSuite(createTestDatabase)
