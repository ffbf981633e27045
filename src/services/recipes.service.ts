export { createRecipe } from './recipes/create-recipe.ts'
export type { Change } from './recipes/diff.ts'
export { loadRecipeForRun } from './recipes/find.ts'
export {
  diffVersions,
  exportRecipe,
  getRecipe,
  getVersion,
  listRecipes,
  listVersions,
  validateRecipe,
  type RecipeVersion,
  type VersionSummary,
} from './recipes/read-recipes.ts'
export { recipeJsonSchema } from './recipes/schema-document.ts'
export { testStep as testRecipeStep } from './recipes/try-step.ts'
export { deleteRecipe, restoreVersion, updateRecipe } from './recipes/update-recipe.ts'
export { recipeTag, type Recipe, type RecipeSummary } from './recipes/view.ts'
export type { Warning } from './recipes/warnings.ts'
