import { join } from 'node:path'
import { rolldown, type Plugin } from 'rolldown'
import { docsStandIns, hasDocs, withoutDocs } from './without-docs.ts'
import { packageRoot } from '../../runtime/node/package-root.ts'

/** Where wrangler finds it: `main` in wrangler.toml. */
const target = join(packageRoot, 'dist/worker-source/index.js')

/**
 * What packages bring along and nothing here reaches: zod's messages in fifty languages, zod's compiler and its way back from
 * JSON Schema, Kysely's builder of schemas, patterns of attacks; and an HTML writer's second copy of the entity tables. By the
 * package that asks and what it asks for.
 */
const standIns: { from: RegExp; asks: string; gets: string }[] = [
  { from: /\/zod\//, asks: '../locales/index.js', gets: 'src/runtime/workers/no-locales.ts' },
  { from: /\/zod\//, asks: './from-json-schema.js', gets: 'src/runtime/workers/no-from-json-schema.ts' },
  { from: /\/zod\//, asks: './compile.js', gets: 'src/runtime/workers/no-compile.ts' },
  { from: /\/kysely\//, asks: './schema/schema-module.js', gets: 'src/runtime/workers/no-schema.ts' },
  { from: /\/fast-xml-parser\//, asks: 'is-unsafe', gets: 'src/runtime/workers/no-entities.ts' },
  { from: /./, asks: 'entities', gets: 'node_modules/entities/dist/esm/index.js' },
]

const standInPlugin: Plugin = {
  name: 'stand-ins',
  resolveId(asks, importer = '') {
    const found = standIns.find((standIn) => standIn.asks === asks && standIn.from.test(importer))
    return found && join(packageRoot, found.gets)
  },
}

const docsPlugin: Plugin = {
  name: 'without-docs',
  resolveId: (asks) => docsStandIns[asks],
  transform: (code, file) => (hasDocs(file, code) ? { code: withoutDocs(code, file), map: null } : undefined),
}

/**
 * Writes the Worker as one file, which wrangler only wraps. wrangler's own bundler keeps every class of the model packages,
 * because it cannot know that reading the names of their static methods has no effect: a fortieth of the whole.
 */
export async function bundleWorker(): Promise<void> {
  const bundle = await rolldown({
    input: join(packageRoot, 'src/index.ts'),
    cwd: packageRoot,
    platform: 'browser',
    external: [/^node:/, /^cloudflare:/],
    resolve: {
      conditionNames: ['workerd', 'worker', 'browser', 'import', 'default'],
      mainFields: ['browser', 'module', 'main'],
    },
    transform: { define: { 'process.env.NODE_ENV': '"production"' } },
    plugins: [standInPlugin, docsPlugin],
    checks: { eval: false },
  })
  await bundle.write({ file: target, format: 'esm', minify: true, sourcemap: true, codeSplitting: false })
  await bundle.close()
}
