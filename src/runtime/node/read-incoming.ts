import type { IncomingMessage } from 'node:http'
import { AppError } from '../../lib/errors.ts'

/**
 * The body of a request, straight from its stream: reading it through a Request copies it and waits a few turns more. Only
 * for bodies whose length was declared, which HTTP bounds by it. Throws `malformed` when the client leaves before the last byte.
 */
export function readIncoming(incoming: IncomingMessage): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const resolveWhole = () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
    const cut = () => {
      // A client may send all it has and leave: the request counts, though nobody waits for its answer.
      const rest = incoming.complete ? (incoming.read() as Buffer | null) : null
      if (rest !== null) chunks.push(rest)
      const length = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
      if (incoming.complete && length === Number(incoming.headers['content-length'])) resolveWhole()
      else reject(new AppError('malformed', 'The request ended before its body was complete.'))
    }
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', resolveWhole)
    incoming.on('error', cut)
    incoming.on('close', cut)
  })
}
