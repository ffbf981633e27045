import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Metafile } from 'esbuild'
import { assetSources } from '../../runtime/node/assets.ts'
import { packageRoot } from '../../runtime/node/package-root.ts'

interface Manifest {
  name: string
  version: string
  license?: string
}

/** The licences of the packages whose code the bundle holds. */
export function thirdPartyNotices({ inputs }: Metafile): string {
  const copied = Object.values(assetSources).map(({ from }) => `node_modules/${from}`)
  const folders = new Set([...Object.keys(inputs), ...copied].flatMap((path) => packageFolder(path) ?? []))
  const notices = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file ? readFileSync(join(folder, file), 'utf8').trim() : 'The package holds no text of its licence.'
    return `${name} ${version} (${license ?? 'no licence named'})\n\n${text}\n`
  })
  return `The files in app/ hold code of these packages.\n\n${notices.join(`\n${'-'.repeat(80)}\n\n`)}`
}

function packageFolder(path: string): string | undefined {
  const match = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)
  const folder = match && join(packageRoot, match[0])
  return folder && existsSync(join(folder, 'package.json')) ? folder : undefined
}
