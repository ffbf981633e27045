// Starts an entry of this repository: `src/….ts` as it is, or `dist/….js`, built anew where the sources have changed.
import './node-version.js'

const target = process.argv[2]
process.argv.splice(1, 1)

async function launch() {
  const module = await import('node:module')
  // Halves the time to load on every start but the first. Bun has no such cache and needs none.
  if (module.enableCompileCache) module.enableCompileCache()
  if (target.indexOf('dist/') === 0 && !(await import('./build/stamp.js')).isBuilt()) {
    const started = performance.now()
    const { bundle } = await import('./build/bundle.ts')
    await bundle().catch((error) => {
      // What is wrong with the sources the bundler has said.
      if (!error.errors) console.error(error)
      process.exit(1)
    })
    console.error('Built from changed sources in ' + Math.round(performance.now() - started) + ' ms')
  }
  await import(new URL('../../' + target, import.meta.url).href)
}

launch()
