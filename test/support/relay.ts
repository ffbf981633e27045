import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Relay {
  /** The target's URL with the relay's address. */
  url: string
  /** Connections that have come so far. */
  readonly connections: number
  /** Ends every connection and refuses new ones, as a server that is stopped. */
  cut(): Promise<void>
  /** The connections there are pass nothing on any more, as if the peer had vanished without a word. New ones do. */
  mute(): void
  /** Takes connections again, on the same port. */
  restore(): Promise<void>
}

/** A way to a server that a test can cut. Gone with the test. */
export async function openRelay(target: string): Promise<Relay> {
  const { hostname, port, protocol } = new URL(target)
  const defaultPort = protocol.startsWith('redis') ? 6379 : 5432
  const sockets = new Set<Socket>()
  let connections = 0
  let server: Server
  const listen = async (on: number) => {
    server = createServer((near) => {
      connections++
      const far = connect(Number(port || defaultPort), hostname)
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket)
        socket.pipe(other)
        socket.on('error', () => {})
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
      }
    })
    await once(server.listen(on, '127.0.0.1'), 'listening')
    return (server.address() as AddressInfo).port
  }
  const close = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const own = await listen(0)
  onTestFinished(close)
  return {
    url: Object.assign(new URL(target), { hostname: '127.0.0.1', port: String(own) }).href,
    get connections() {
      return connections
    },
    cut: close,
    mute() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    restore: async () => void (await listen(own)),
  }
}
