import { z } from '@hono/zod-openapi'
import { startedExecutionSchema } from './executions.schemas.ts'

export const pauseBodySchema = z
  .strictObject({ reason: z.string().trim().min(1).max(500).optional() })
  .openapi('PauseExecution')

export const replayBodySchema = z
  .strictObject({
    from_step: z
      .string()
      .min(1)
      .max(1000)
      .optional()
      .openapi({ description: 'Path of a step of the execution: `send`, `each/3/note`.', example: 'send' }),
    recipe_version: z.int().min(1).optional().openapi({ description: 'Default: the version that it had.' }),
    input_data: z.json().optional().openapi({ description: 'Default: the input that it had.', type: 'object' }),
  })
  .openapi('ReplayExecution')

/** An execution of an agent belongs to no recipe. */
export const replayedExecutionSchema = startedExecutionSchema
  .extend({ recipe_id: z.uuid().nullable(), recipe_version: z.int().nullable() })
  .openapi('ReplayedExecution')
