/** In place of '@hono/zod-openapi' in what is built: zod alone, as what is declared for the document is left out there. */
export { z } from 'zod'
/** Named by a module of which nothing is left then. */
export const OpenAPIHono = undefined
