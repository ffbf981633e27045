// What this repository takes from others: every lock file pins each package by its hash and takes it from the registry alone,
// nothing runs at its installation that package.json does not allow, and every licence is one that we may pass on (what is
// only used to build and test: that we may use). Then asks the registry for known vulnerabilities; where it does not answer,
// that part is left out, and says so. Usage: node .ci/supply-chain.ts
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface LockEntry {
  version?: string
  resolved?: string
  integrity?: string
  license?: string
  dev?: boolean
  link?: boolean
  hasInstallScript?: boolean
}
export interface Lock {
  lockfileVersion: number
  packages: Record<string, LockEntry>
}
interface Installed {
  version?: string
  license?: string | { type?: string }
  licenses?: { type?: string }[]
}

/** Of what is passed on: nothing asks more than that its notice is kept. */
const passedOn = [
  'MIT',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Unlicense',
  'CC0-1.0',
  'BlueOak-1.0.0',
]
/** Of tools, which nobody gets from us. */
const usedHere = [...passedOn, 'MPL-2.0', 'LGPL-3.0-or-later', 'CC-BY-4.0', 'Python-2.0']
const registry = 'https://registry.npmjs.org/'

/** Whether an SPDX expression can be met with these licences: one side of an OR, both of an AND. */
export function isMet(expression: string, allowed: readonly string[]): boolean {
  const bare = expression.replace(/^\((.*)\)$/, '$1')
  if (/ OR /.test(bare)) return bare.split(' OR ').some((part) => isMet(part.trim(), allowed))
  if (/ AND /.test(bare)) return bare.split(' AND ').every((part) => isMet(part.trim(), allowed))
  return allowed.includes(bare)
}

/** Everything that is wrong with what a lock file pins. `installed` reads the package.json of what is in node_modules. */
export function faultsOf(
  { lockfileVersion, packages }: Lock,
  mayRunScripts: readonly string[],
  installed: (path: string) => Installed | null = () => null,
): string[] {
  const faults: string[] = []
  if (lockfileVersion < 3)
    faults.push(`lockfileVersion ${lockfileVersion} knows no licences: write it with npm 7 or later`)
  for (const [path, entry] of Object.entries(packages)) {
    if (path === '') continue
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const add = (fault: string) => void faults.push(`${path}: ${fault}`)
    if (entry.link) add('a link to a folder, which a clone does not have')
    if (!entry.integrity?.startsWith('sha512-')) add('no SHA-512 pins it')
    if (entry.resolved !== undefined && !entry.resolved.startsWith(registry)) add(`comes from ${entry.resolved}`)
    if (entry.hasInstallScript && !mayRunScripts.includes(name))
      add('has an install script that allowScripts does not name')
    const allowed = entry.dev ? usedHere : passedOn
    const here = installed(path)
    if (here && here.version !== entry.version) add(`${here.version} is installed, ${entry.version} is pinned`)
    const told = [entry.license, here && licenceOf(here)].filter((licence) => typeof licence === 'string')
    if (told.length === 0) add('names no licence')
    for (const licence of told) if (!isMet(licence, allowed)) add(`the licence ${licence} is not one that is allowed`)
  }
  return faults
}

function licenceOf({ license, licenses }: Installed): string | undefined {
  if (typeof license === 'string') return license
  return license?.type ?? licenses?.map(({ type }) => type).join(' OR ')
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T
}

/** Known vulnerabilities of this level or above; null = the registry did not say. */
function audit(folder: string): string[] | null {
  const { stdout } = spawnSync('npm', ['audit', '--json', '--audit-level=high'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, NPM_CONFIG_AUDIT: 'true', NPM_CONFIG_FETCH_RETRIES: '1' },
  })
  interface Report {
    auditReportVersion?: number
    vulnerabilities?: Record<string, { severity: string; range: string }>
  }
  let report: Report
  try {
    report = JSON.parse(stdout) as Report
  } catch {
    return null
  }
  if (report.auditReportVersion === undefined) return null
  return Object.entries(report.vulnerabilities ?? {})
    .filter(([, { severity }]) => severity === 'high' || severity === 'critical')
    .map(([name, { severity, range }]) => `${name} ${range}: ${severity}`)
}

function main(): void {
  const root = join(import.meta.dirname, '..')
  const locks = ['package-lock.json', 'clients/typescript/package-lock.json', 'bench/engine/package-lock.json']
  let failed = false
  for (const file of locks) {
    const folder = dirname(join(root, file))
    const lock = read<Lock>(join(root, file))
    const { allowScripts = {} } = read<{ allowScripts?: Record<string, boolean> }>(join(folder, 'package.json'))
    const installed = (path: string) => {
      const manifest = join(folder, path, 'package.json')
      return existsSync(manifest) ? read<Installed>(manifest) : null
    }
    // What is passed on is the product; the client is generated code, and the bench's contenders stay here.
    const entries = file === 'package-lock.json' ? lock : { ...lock, packages: asTools(lock.packages) }
    const faults = faultsOf(entries, Object.keys(allowScripts), installed)
    const known = audit(folder)
    if (known === null) console.log(`${file}: the registry tells of no vulnerabilities here; that part is left out`)
    const all = [...faults, ...(known ?? [])]
    for (const fault of all) console.error(`${file}: ${fault}`)
    const count = Object.keys(lock.packages).length - 1
    if (all.length === 0)
      console.log(`${file}: ${count} packages, each pinned by its hash, with licences that are allowed`)
    failed ||= all.length > 0
  }
  process.exitCode = failed ? 1 : 0
}

const asTools = (packages: Lock['packages']) =>
  Object.fromEntries(Object.entries(packages).map(([path, entry]) => [path, { ...entry, dev: true }]))

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) main()
