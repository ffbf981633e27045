/**
 * In place of a run id in a wake signal: too many runs to name, or signals were lost. Whoever follows runs looks at
 * all of its own.
 */
export const anyRun = '*'
