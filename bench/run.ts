// All benches, one after the other. Each reports ratios from one run of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

for (const bench of ['http.ts', 'runs.ts']) {
  console.log(`== ${bench}`)
  const child = spawn(process.execPath, [new URL(bench, import.meta.url).pathname], { stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) process.exitCode = 1
}
