declare module 'vitest' {
  interface ProvidedContext {
    workersKeyRing: string
    workersAdminKey: string
  }
}
export {}
