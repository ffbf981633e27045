import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { formatSecret, signMessage } from '../../src/lib/standard-webhooks.ts'

const secret = formatSecret(new Uint8Array(32).fill(3))
const examples = join(import.meta.dirname, '../../examples')
const hasPython = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'python3')))

const receivers: [name: string, command: string, file: string][] = [
  ['node', process.execPath, 'webhook-receiver.mjs'],
  ...(hasPython ? [['python', 'python3', 'webhook_receiver.py'] as [string, string, string]] : []),
]
test.each(receivers)(
  'the sample receiver for %s takes what is ours, once, and nothing else',
  async (_, command, file) => {
    const child = spawn(command, [join(examples, file)], { env: { ...process.env, SECRET: secret, PORT: '0' } })
    onTestFinished(() => void child.kill())
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    while (!output.includes('listening')) await once(child.stdout, 'data')
    const port = /listening on (\d+)/.exec(output)![1]
    const body = JSON.stringify({ type: 'execution.succeeded', data: {} })
    const timestampS = Math.floor(Date.now() / 1000)
    const send = async (headers: Record<string, string>, text = body) =>
      (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: text })).status
    const other = formatSecret(new Uint8Array(32).fill(4))
    const headers = signMessage([other, secret], { id: 'evt-1', timestampS, body })
    expect([await send(headers), await send(headers)], 'signed by two secrets, and sent twice').toEqual([204, 204])
    expect(await send(signMessage([other], { id: 'evt-2', timestampS, body }))).toBe(401)
    expect(await send(headers, `${body} `)).toBe(401)
    expect(await send(signMessage([secret], { id: 'evt-3', timestampS: timestampS - 600, body }))).toBe(401)
    expect(await send({})).toBe(401)
    expect(output.split('\n').filter((line) => line.startsWith('execution.succeeded'))).toEqual([
      'execution.succeeded evt-1',
    ])
  },
)
