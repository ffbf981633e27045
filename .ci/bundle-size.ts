// Fails where the Worker is larger than Cloudflare and start-up time allow for. Usage: node .ci/bundle-size.ts [folder]
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const limitKb = 700
const folder = process.argv[2] ?? 'dist/worker'
const scripts = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
  /\.(js|mjs|wasm)$/.test(name),
)
if (scripts.length === 0) throw new Error(`There is no script in ${folder}. Build it first: npm run build:worker`)
const contents = scripts.map((name) => readFileSync(join(folder, name)))
const kb = (bytes: number) => bytes / 1000
const plain = kb(contents.reduce((sum, content) => sum + content.length, 0))
const zipped = kb(contents.reduce((sum, content) => sum + gzipSync(content, { level: 9 }).length, 0))
console.log(`Worker bundle: ${zipped.toFixed(0)} kB gzip -9 (${plain.toFixed(0)} kB), the limit is ${limitKb} kB`)
if (zipped > limitKb) process.exit(1)
