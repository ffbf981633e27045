declare module 'vitest' {
  interface ProvidedContext {
    workersKeyRing: string
    workersAdminKey: string
    /** A database for the engine's suite alone. */
    engineDatabaseUrl: string
    /** Of the host of key sets outside workerd. */
    keyHost: string
    /** Of an S3 server outside workerd. */
    s3Endpoint: string
    /** Our own REST proxy in front of a Redis; null where none runs. */
    upstash: { url: string; token: string } | null
  }
}
export {}
