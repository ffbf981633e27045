import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { report } from './result.ts'

// What a Worker has to load before its first request: the size of the bundle, compressed, and the processor time of its
// start in a local workerd. Usage: node bench/bundle.ts
const limitKb = 700
const folder = mkdtempSync(join(tmpdir(), 'automatos-bundle-'))
try {
  wrangler('deploy', '--dry-run', '--outdir', folder)
  const scripts = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(js|wasm)$/.test(name))
  const contents = scripts.map((name) => readFileSync(join(folder, name)))
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0) / 1000
  const zippedKb = sum(contents.map((content) => gzipSync(content, { level: 9 }).length))
  const startup = wrangler('check', 'startup', '--outfile', join(folder, 'start.cpuprofile'))
  report({
    name: 'Worker bundle, gzip -9',
    against: `${limitKb} kB`,
    ratio: zippedKb / limitKb,
    goal: { atMost: 1 },
    rounds: [],
    figures: {
      compressed: `${zippedKb.toFixed(0)} kB`,
      plain: `${sum(contents.map((content) => content.length)).toFixed(0)} kB`,
      'processor time of its start': /Active: ([\d.]+ ms)/.exec(startup)?.[1] ?? 'not measured',
    },
  })
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function wrangler(...args: string[]): string {
  const env = { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false' }
  return execFileSync('wrangler', args, { cwd: join(import.meta.dirname, '..'), env, encoding: 'utf8' })
}
