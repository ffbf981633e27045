// Stands in a Worker for zod's translations, which its namespace object keeps in every bundle: 270 kB that nobody reads.
export {}
