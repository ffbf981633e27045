/** A step of the schema: plain statements, so that it runs on any runtime and any driver. Append-only: never edited once released. */
export interface Migration {
  /** `0001-name`; the order of names is the order of application. */
  name: string
  /** Tables that are taken whole before the first statement, in this order: see `migrate`. Those that are not there are passed over. */
  locks?: readonly string[]
  statements: string[]
}
