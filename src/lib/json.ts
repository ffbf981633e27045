/** A value that JSON can carry: what recipes, steps, events and the wire hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }
