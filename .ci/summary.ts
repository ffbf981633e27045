// Adds up what the suites reported, as the closing line of a CI run.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
}
const folder = process.argv[2] ?? ''
const total = { passed: 0, failed: 0, skipped: 0 }
for (const file of readdirSync(folder).sort()) {
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Report
  console.log(
    `${file.replace('.json', '').padEnd(10)} ${report.numPassedTests} passed, ${report.numFailedTests} failed`,
  )
  total.passed += report.numPassedTests
  total.failed += report.numFailedTests
  total.skipped += report.numPendingTests
}
console.log(`tests: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0)
