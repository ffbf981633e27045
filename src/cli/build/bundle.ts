import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'
import { assetSources, builtAssets, originalOf } from '../../runtime/node/assets.ts'
import { packageRoot } from '../../runtime/node/package-root.ts'
import { docsStandIns, hasDocs, withoutDocs } from './without-docs.ts'
import { currentStamp, stampFile } from './stamp.js'

const folder = join(packageRoot, 'dist/app')
/** What is started: the server, the CLI, and the commands of an operator. */
const entries = {
  'node-server': 'src/node-server.ts',
  automatos: 'src/cli/automatos.ts',
  migrate: 'src/cli/migrate.ts',
  config: 'src/cli/config.ts',
  'rotate-keys': 'src/cli/rotate-keys.ts',
}
/** Loads its WebAssembly and data from beside itself, so it stays a package. */
const external = ['@electric-sql/pglite']

const docsPlugin: Plugin = {
  name: 'without-docs',
  setup(context) {
    context.onResolve({ filter: /^@hono\/zod-openapi$|\/served-document\.ts$/ }, ({ path }) => ({
      path: docsStandIns[path]!,
    }))
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      return hasDocs(path, source) ? { contents: withoutDocs(source, path), loader: 'ts' } : undefined
    })
  },
}

/**
 * Writes dist/app: the entries, and in chunks what several of them share or what is loaded only when it is used. Any
 * number of processes may build at once, and servers may run from an older build meanwhile: each file appears whole,
 * entries after the chunks that they name, and chunks of older builds stay.
 */
export async function bundle(): Promise<Metafile> {
  const stamp = currentStamp()
  const { outputFiles, metafile } = await build({
    absWorkingDir: packageRoot,
    entryPoints: entries,
    outdir: folder,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    mainFields: ['module', 'main'],
    external,
    plugins: [docsPlugin],
    // Not minified: it starts no faster, and stacks stay readable. Packages in CommonJS ask for Node's modules by require.
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
    legalComments: 'none',
    logLevel: 'error',
    write: false,
    metafile: true,
  })
  for (const [name, { from }] of Object.entries(assetSources)) {
    await place(join(builtAssets, name), await readFile(originalOf(from)))
  }
  const isChunk = (path: string) => basename(dirname(path)) === 'chunks'
  for (const file of outputFiles.toSorted((a, b) => Number(isChunk(b.path)) - Number(isChunk(a.path)))) {
    await place(file.path, file.contents)
  }
  await place(stampFile, stamp)
  return metafile
}

async function place(path: string, contents: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const unfinished = `${path}.${process.pid}.unfinished`
  await writeFile(unfinished, contents)
  await rename(unfinished, path)
}
