import { sql } from 'kysely'
import type { Blobs, Runtime } from '../../context.ts'

const ofRun = /^runs\/[0-9a-f-]{36}\/([0-9a-f-]{36})\//

/** The blobs, with large values of runs noted before they are put: so that they are found when their run is deleted. */
export function notedBlobs({ db, blobs }: Pick<Runtime, 'db' | 'blobs'>): Blobs {
  return {
    async put(key, bytes, options) {
      const runId = ofRun.exec(key)?.[1]
      if (runId !== undefined) {
        await sql`insert into run_blobs (key, run_id) values (${key}, ${runId}::text::uuid) on conflict do nothing`.execute(
          db,
        )
      }
      await blobs.put(key, bytes, options)
    },
    get: (key) => blobs.get(key),
    delete: (key) => blobs.delete(key),
  }
}
