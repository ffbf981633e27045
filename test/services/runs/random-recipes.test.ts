import { createTestDatabase } from '../../support/database.ts'
import { randomRecipesSuite } from './random-recipes.suite.ts'

randomRecipesSuite(createTestDatabase)
