import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { faultsOf, isMet, type Lock, type LockEntry } from '../../.ci/supply-chain.ts'
import packageJson from '../../package.json' with { type: 'json' }

const lock = JSON.parse(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8')) as Lock
const scripts = Object.keys(packageJson.allowScripts)
const sound: LockEntry = { version: '1.0.0', integrity: 'sha512-AAAA', license: 'MIT' }
const faultsWith = (entry: LockEntry) =>
  faultsOf({ lockfileVersion: 3, packages: { '': {}, 'node_modules/some': { ...sound, ...entry } } }, ['esbuild'])

test('what the lock file pins is pinned by hash, from the registry, and may be passed on', () => {
  expect(Object.keys(lock.packages).length).toBeGreaterThan(100)
  expect(faultsOf(lock, scripts)).toEqual([])
})

test.each([
  ['a package without a hash', { integrity: '' }, 'no SHA-512 pins it'],
  ['a weak hash', { integrity: 'sha1-AAAA' }, 'no SHA-512 pins it'],
  ['a git repository', { resolved: 'git+ssh://git@host.example/some.git#1' }, 'comes from git+ssh:'],
  ['an address of its own', { resolved: 'http://registry.npmjs.org/some.tgz' }, 'comes from http:'],
  ['a folder', { link: true }, 'a link to a folder'],
  ['an install script', { hasInstallScript: true }, 'an install script'],
  ['a licence that binds those who get it from us', { license: 'AGPL-3.0' }, 'the licence AGPL-3.0'],
  ['a weaker one, in what is passed on', { license: 'MPL-2.0' }, 'the licence MPL-2.0'],
  ['no licence', { license: undefined as never }, 'names no licence'],
])('%s is told of', (_, entry, fault) => {
  expect(faultsWith(entry)).toEqual([expect.stringContaining(fault)])
})

test('what is only used here may have a licence that binds its own source', () => {
  expect(faultsWith({ license: 'MPL-2.0', dev: true })).toEqual([])
})

test('of a choice one side has to be allowed, of a sum both', () => {
  expect(isMet('(AFL-2.1 OR BSD-3-Clause)', ['BSD-3-Clause'])).toBe(true)
  expect(isMet('Apache-2.0 AND LGPL-3.0-or-later', ['Apache-2.0'])).toBe(false)
})

test('versions are exact, and come from the registry', () => {
  const ours = { ...packageJson.dependencies, ...packageJson.devDependencies, ...packageJson.optionalDependencies }
  for (const [name, range] of Object.entries(ours)) expect(range, name).toMatch(/^\d+\.\d+\.\d+$/)
})
