/**
 * In place of a run id in a wake signal: too many runs to name, or signals were lost. Whoever follows runs looks at
 * all of its own.
 */
export const anyRun = '*'

/** The same for callers: nobody's rights are known any more. */
export const anyCaller = '*'
