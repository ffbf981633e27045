// Stands in a Worker for zod's compiler, which writes code with `new Function`: no Worker may. zod's namespace object names it.
export const INVALID = undefined
export const compile = undefined
export const withParser = undefined
export const ZodCompileAsyncError = undefined
export const ZodCompileUnsupportedError = undefined
