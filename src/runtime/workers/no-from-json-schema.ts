// Stands in a Worker for zod's way back from JSON Schema: its namespace object keeps it in every bundle, and nothing here goes it.
export const fromJSONSchema = undefined
