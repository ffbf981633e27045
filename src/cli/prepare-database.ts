import { preparedDatabasePath, prepareDatabase } from '../runtime/node/prepared-database.ts'

// Part of `npm ci`: a failure costs the first start a few seconds, so it must never fail the installation.
try {
  const made = await prepareDatabase()
  console.log(`The embedded database ${made ? 'was' : 'is already'} prepared in ${preparedDatabasePath()}`)
} catch (error) {
  console.warn(`The embedded database was not prepared; the first start will create it: ${(error as Error).message}`)
}
