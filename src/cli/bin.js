#!/usr/bin/env node
// `automatos`; the build copies it to dist/.
import './node-version.js'

async function start() {
  const { existsSync } = await import('node:fs')
  const launcher = new URL('../src/cli/launch.js', import.meta.url)
  if (existsSync(launcher)) {
    // In a clone: what runs must be what the sources say.
    process.argv.splice(2, 0, 'dist/app/automatos.js')
    await import(launcher.href)
    return
  }
  const module = await import('node:module')
  if (module.enableCompileCache) module.enableCompileCache()
  await import('./app/automatos.js')
}

start()
