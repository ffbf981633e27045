/** A database server of a test's own, to stop and start at will. */
export interface OwnServer {
  url: string
  /** As a crash: no connection is told goodbye. */
  stop(): Promise<void>
  /** Resolves when it answers. */
  start(): Promise<void>
  remove(): Promise<void>
}
