import { createTestDatabase } from '../support/database.ts'
import { outsideSuite } from '../services/runs/outside.suite.ts'

// On a database of its own, which the alias of the configuration puts in place.
outsideSuite(createTestDatabase)
