import { createTestDatabase } from '../../support/database.ts'
import { engineSuite } from './engine.suite.ts'

engineSuite(createTestDatabase)
