// Starts a TypeScript entry, or says in one line why this Node cannot. Plain JavaScript without modern syntax: it is
// the one file that a Node too old for the product must be able to read.
const version = process.versions.node.split('.').map(Number)

if (version[0] > 22 || (version[0] === 22 && version[1] >= 18)) {
  const entry = new URL('../../' + process.argv[2], import.meta.url)
  process.argv.splice(1, 1)
  import('node:module').then(function (module) {
    // Halves the time to load on every start but the first. Bun has no such cache and needs none.
    if (module.enableCompileCache) module.enableCompileCache()
    return import(entry.href)
  })
} else {
  console.error(
    'Automatos needs Node 22.18 or newer, this is ' +
      process.version +
      '. Install it from https://nodejs.org, or use Bun.',
  )
  process.exit(1)
}
