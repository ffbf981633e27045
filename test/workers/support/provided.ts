declare module 'vitest' {
  interface ProvidedContext {
    workersKeyRing: string
    workersAdminKey: string
    /** A database for the engine's suite alone. */
    engineDatabaseUrl: string
  }
}
export {}
