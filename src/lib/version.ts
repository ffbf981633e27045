/** The version of package.json, which shared code cannot read on every platform. A test holds the two equal. */
export const version = '0.1.0'
export const productName = 'Automatos Orchestrator'
