// Ends a Node that is too old for the product with one line. Plain JavaScript without modern syntax, as is what imports
// it: these are the files that such a Node must be able to read.
const version = process.versions.node.split('.').map(Number)

if (version[0] < 22 || (version[0] === 22 && version[1] < 18)) {
  console.error(
    'Automatos needs Node 22.18 or newer, this is ' +
      process.version +
      '. Install it from https://nodejs.org, or use Bun.',
  )
  process.exit(1)
}
